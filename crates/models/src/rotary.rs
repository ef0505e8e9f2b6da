//! Rotary position embeddings (Su et al. 2021) with the ways there are to stretch them: transformers' `ROPE_INIT_FUNCTIONS`.

use std::f64::consts::PI;

use serde_json::{Map, Value};
use trustformers_tensor::Tensor;

use crate::{Config, Error, Result};

/// One kind of rotary embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct RotarySpec {
    /// How many elements of a head are turned, from the first on.
    pub dims: usize,
    /// Whether a pair is two neighbours (GPT-J) and not two halves (GPT-NeoX, Llama).
    pub interleaved: bool,
    /// The base of the wavelengths.
    pub theta: f64,
    /// How they are stretched.
    pub scaling: RopeScaling,
}

/// How rotary embeddings reach further than they were trained for.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    Default,
    /// Positions divided by `factor`.
    Linear {
        /// The divisor.
        factor: f64,
    },
    /// The base grows with the text, beyond `max` positions.
    Dynamic {
        /// How fast.
        factor: f64,
        /// The positions it was trained for.
        max: usize,
    },
    /// Long wavelengths stretched, short ones not, between them a ramp over rotations (Peng et al. 2023).
    Yarn {
        /// By how much.
        factor: f64,
        /// The positions it was trained for.
        original: usize,
        /// Rotations above which nothing is stretched.
        beta_fast: f64,
        /// Rotations below which all is.
        beta_slow: f64,
        /// Whether the ramp's ends are whole dimensions.
        truncate: bool,
        /// What cosines and sines are multiplied with.
        attention_factor: f64,
    },
    /// The same idea as YaRN with a ramp over frequencies (Llama 3.1).
    Llama3 {
        /// By how much.
        factor: f64,
        /// Wavelengths above `original` / this are stretched.
        low: f64,
        /// Wavelengths below `original` / this are not.
        high: f64,
        /// The positions it was trained for.
        original: usize,
    },
    /// A factor for each frequency: one list for texts up to `original` positions, one for longer ones (Phi-3).
    LongRope {
        /// For texts that fit.
        short: Vec<f64>,
        /// For longer ones.
        long: Vec<f64>,
        /// The positions it was trained for.
        original: usize,
        /// What cosines and sines are multiplied with.
        attention_factor: f64,
    },
}

impl RotarySpec {
    /// The length beyond which a text is turned by other angles altogether, if there is one: keys from before do not fit then.
    pub fn turning_point(&self) -> Option<usize> {
        match &self.scaling {
            RopeScaling::LongRope { original, .. } => Some(*original),
            _ => None,
        }
    }

    /// Reads `rope_parameters` (version 5), or `rope_theta` and `rope_scaling` (before), of a configuration.
    pub fn read(config: &Config, head_dim: usize) -> Result<RotarySpec> {
        let parameters = config.object("rope_parameters")?.or(config.object("rope_scaling")?);
        RotarySpec::of(config, parameters, head_dim)
    }

    /// Reads one layer type's entry of `rope_parameters`, as models with two kinds of layers have them, with the field that held its
    /// base before version 5.
    pub fn read_for(
        config: &Config,
        layer_type: &str,
        old_theta: &str,
        head_dim: usize,
    ) -> Result<RotarySpec> {
        let all = config.object("rope_parameters")?;
        let own = all.and_then(|all| all.get(layer_type)).and_then(Value::as_object);
        match own {
            Some(own) => RotarySpec::of(config, Some(own), head_dim),
            None => {
                let mut spec = RotarySpec::of(config, None, head_dim)?;
                if config.has(old_theta) {
                    spec.theta = f64::from(config.number(old_theta)?);
                }
                Ok(spec)
            }
        }
    }

    fn of(config: &Config, parameters: Option<&Map<String, Value>>, head_dim: usize) -> Result<RotarySpec> {
        let empty = Map::new();
        let p = Parameters(parameters.unwrap_or(&empty));
        let theta = match p.number("rope_theta")? {
            Some(theta) => theta,
            None if config.has("rope_theta") => f64::from(config.number("rope_theta")?),
            None if config.has("rotary_emb_base") => f64::from(config.number("rotary_emb_base")?),
            None => 10000.0,
        };
        let partial = match p.number("partial_rotary_factor")? {
            Some(factor) => factor,
            None if config.has("partial_rotary_factor") => f64::from(config.number("partial_rotary_factor")?),
            None if config.has("rotary_pct") => f64::from(config.number("rotary_pct")?),
            None => 1.0,
        };
        let dims = (head_dim as f64 * partial) as usize;
        if theta <= 0.0 || dims == 0 || dims > head_dim || !dims.is_multiple_of(2) {
            return Err(Error::Config(format!(
                "rotary embeddings turn {dims} of {head_dim} elements of a head with the base {theta}: the base must be \
                 positive and the number even, at least 2 and within the head; change `rope_parameters`"
            )));
        }
        Ok(RotarySpec { dims, interleaved: false, theta, scaling: p.scaling(config, dims)? })
    }

    /// Cosines and sines (rows, dims / 2) of the angles at `positions`, of texts of up to `length` positions. What was found before is in `known`.
    pub fn tables(&self, positions: &[i64], length: usize, known: &mut Angles) -> Result<(Tensor, Tensor)> {
        known.expect(self.frequencies(length));
        let shape = [positions.len(), self.dims / 2];
        let [mut cos, mut sin] = [(); 2].map(|()| Vec::with_capacity(shape[0] * shape[1]));
        positions.iter().for_each(|&position| known.append(position, &mut cos, &mut sin));
        Ok((Tensor::from_slice(&cos, &shape)?, Tensor::from_slice(&sin, &shape)?))
    }

    /// Radians per position for each pair, and what cosines and sines are multiplied with.
    fn frequencies(&self, length: usize) -> (Vec<f64>, f64) {
        let pairs = self.dims / 2;
        // As transformers computes it: the exponent, the power and its inverse, each in float32. For words that are a hundred
        // thousand positions apart the last digit of a frequency is the third of an angle.
        let exponent = |i: usize| f64::from(2.0 * i as f32 / self.dims as f32);
        let plain = |theta: f64| (0..pairs).map(move |i| f64::from(1.0 / theta.powf(exponent(i)) as f32));
        match &self.scaling {
            RopeScaling::Default => (plain(self.theta).collect(), 1.0),
            RopeScaling::Linear { factor } => (plain(self.theta).map(|f| f / factor).collect(), 1.0),
            RopeScaling::Dynamic { factor, max } => {
                let (length, max) = (length.max(*max) as f64, *max as f64);
                let grown = factor * length / max - (factor - 1.0);
                let theta = self.theta * grown.powf(self.dims as f64 / (self.dims as f64 - 2.0));
                (plain(theta).collect(), 1.0)
            }
            RopeScaling::Yarn { factor, original, beta_fast, beta_slow, truncate, attention_factor } => {
                let dim_of = |rotations: f64| {
                    self.dims as f64 * (*original as f64 / (rotations * 2.0 * PI)).ln()
                        / (2.0 * self.theta.ln())
                };
                let (mut low, mut high) = (dim_of(*beta_fast), dim_of(*beta_slow));
                if *truncate {
                    (low, high) = (low.floor(), high.ceil());
                }
                (low, high) = (low.max(0.0), high.min(self.dims as f64 - 1.0));
                if low == high {
                    high += 0.001;
                }
                let stretched = |(i, f): (usize, f64)| {
                    let ramp = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    f / factor * ramp + f * (1.0 - ramp)
                };
                (plain(self.theta).enumerate().map(stretched).collect(), *attention_factor)
            }
            RopeScaling::Llama3 { factor, low, high, original } => {
                let original = *original as f64;
                let stretched = |f: f64| {
                    let wavelength = 2.0 * PI / f;
                    if wavelength < original / high {
                        f
                    } else if wavelength > original / low {
                        f / factor
                    } else {
                        let smooth = (original / wavelength - low) / (high - low);
                        (1.0 - smooth) * f / factor + smooth * f
                    }
                };
                (plain(self.theta).map(stretched).collect(), 1.0)
            }
            RopeScaling::LongRope { short, long, original, attention_factor } => {
                let factors = if length > *original { long } else { short };
                let stretched = plain(self.theta).zip(factors).map(|(f, factor)| f / factor);
                (stretched.collect(), *attention_factor)
            }
        }
    }
}

/// Cosines and sines at the first positions, which are worked out once: a step of a text asks for one row of them, a prompt for thousands.
#[derive(Debug, Default)]
pub struct Angles {
    /// See [`RotarySpec::frequencies`].
    of: (Vec<f64>, f64),
    cos: Vec<f32>,
    sin: Vec<f32>,
}

impl Angles {
    /// Positions that are kept; few texts are longer.
    const KEPT: usize = 1 << 14;

    /// Forgets what was found for others.
    fn expect(&mut self, of: (Vec<f64>, f64)) {
        if self.of != of {
            *self = Angles { of, ..Angles::default() };
        }
    }

    fn append(&mut self, position: i64, cos: &mut Vec<f32>, sin: &mut Vec<f32>) {
        let (frequencies, factor) = &self.of;
        let work_out = |position: i64, cos: &mut Vec<f32>, sin: &mut Vec<f32>| {
            for &frequency in frequencies {
                // As transformers computes it: the angle in float32.
                let angle = position as f32 * frequency as f32;
                cos.push((f64::from(angle.cos()) * factor) as f32);
                sin.push((f64::from(angle.sin()) * factor) as f32);
            }
        };
        let pairs = frequencies.len();
        let Some(place) = usize::try_from(position).ok().filter(|&place| place < Self::KEPT) else {
            return work_out(position, cos, sin);
        };
        for next in self.cos.len() / pairs..=place {
            work_out(next as i64, &mut self.cos, &mut self.sin);
        }
        let row = place * pairs..(place + 1) * pairs;
        cos.extend_from_slice(&self.cos[row.clone()]);
        sin.extend_from_slice(&self.sin[row]);
    }
}

/// The values of `rope_parameters`.
struct Parameters<'a>(&'a Map<String, Value>);

impl Parameters<'_> {
    fn number(&self, field: &str) -> Result<Option<f64>> {
        match self.0.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => match value.as_f64().filter(|number| number.is_finite()) {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(field, "must be a number", value)),
            },
        }
    }

    fn required(&self, field: &str) -> Result<f64> {
        self.number(field)?.ok_or_else(|| Error::Config(format!("`rope_parameters` must have `{field}`")))
    }

    fn factor(&self) -> Result<f64> {
        let factor = self.required("factor")?;
        if factor < 1.0 {
            return Err(wrong("factor", "must be at least 1", &factor.into()));
        }
        Ok(factor)
    }

    fn list(&self, field: &str, len: usize) -> Result<Vec<f64>> {
        let bad = || {
            let value = self.0.get(field).unwrap_or(&Value::Null);
            wrong(field, &format!("must be a list of {len} numbers"), value)
        };
        let values = self.0.get(field).and_then(Value::as_array).ok_or_else(bad)?;
        let values: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
        values.filter(|values| values.len() == len).ok_or_else(bad)
    }

    /// The positions that the model was trained for before it was stretched.
    fn original(&self, config: &Config) -> Result<usize> {
        let field = "original_max_position_embeddings";
        match self.number(field)? {
            Some(original) if original >= 1.0 => Ok(original as usize),
            Some(original) => Err(wrong(field, "must be at least 1", &original.into())),
            None if config.has(field) => config.count(field),
            None => config.count("max_position_embeddings"),
        }
    }

    fn scaling(&self, config: &Config, dims: usize) -> Result<RopeScaling> {
        let kind = self.0.get("rope_type").or_else(|| self.0.get("type")).unwrap_or(&Value::Null);
        Ok(match kind.as_str() {
            Some("default") => RopeScaling::Default,
            None if kind.is_null() => RopeScaling::Default,
            Some("linear") => RopeScaling::Linear { factor: self.factor()? },
            Some("dynamic") => {
                RopeScaling::Dynamic { factor: self.factor()?, max: config.count("max_position_embeddings")? }
            }
            Some("llama3") => {
                let (low, high) = (self.required("low_freq_factor")?, self.required("high_freq_factor")?);
                if high <= low {
                    return Err(wrong("high_freq_factor", "must be above `low_freq_factor`", &high.into()));
                }
                RopeScaling::Llama3 { factor: self.factor()?, low, high, original: self.original(config)? }
            }
            Some("yarn") => {
                let original = self.original(config)?;
                let factor = match self.number("factor")? {
                    Some(_) => self.factor()?,
                    None => config.count("max_position_embeddings")? as f64 / original as f64,
                };
                let scale = |mscale: f64| if factor <= 1.0 { 1.0 } else { 0.1 * mscale * factor.ln() + 1.0 };
                let attention_factor = match (
                    self.number("attention_factor")?,
                    self.number("mscale")?,
                    self.number("mscale_all_dim")?,
                ) {
                    (Some(given), ..) => given,
                    (None, Some(one), Some(all)) if one != 0.0 && all != 0.0 => scale(one) / scale(all),
                    _ => scale(1.0),
                };
                RopeScaling::Yarn {
                    factor,
                    original,
                    beta_fast: self.number("beta_fast")?.unwrap_or(32.0),
                    beta_slow: self.number("beta_slow")?.unwrap_or(1.0),
                    truncate: self.0.get("truncate").and_then(Value::as_bool).unwrap_or(true),
                    attention_factor,
                }
            }
            Some("longrope" | "su") => {
                let original = self.original(config)?;
                let factor = match self.number("factor")? {
                    Some(factor) => factor,
                    None => config.count("max_position_embeddings")? as f64 / original as f64,
                };
                let attention_factor = match self.number("attention_factor")? {
                    Some(given) => given,
                    None if factor <= 1.0 => 1.0,
                    None => (1.0 + factor.ln() / (original as f64).ln()).sqrt(),
                };
                RopeScaling::LongRope {
                    short: self.list("short_factor", dims / 2)?,
                    long: self.list("long_factor", dims / 2)?,
                    original,
                    attention_factor,
                }
            }
            _ => {
                let rule = "must be one of default, linear, dynamic, yarn, longrope, llama3";
                return Err(wrong("rope_type", rule, kind));
            }
        })
    }
}

fn wrong(field: &str, rule: &str, value: &Value) -> Error {
    Error::Config(format!("`rope_parameters`: `{field}` {rule}, got {value}"))
}
