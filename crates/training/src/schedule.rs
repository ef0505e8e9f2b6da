//! Learning rates over the steps of a training: the schedules of transformers' `lr_scheduler_type`.

use std::f64::consts::PI;

use serde::Deserialize;

use crate::{Error, Result};

/// How the learning rate rises before a [`Schedule::WarmupStableDecay`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum WarmUp {
    /// Evenly.
    #[serde(rename = "linear")]
    Linear,
    /// As half a wave.
    #[serde(rename = "cosine")]
    Cosine,
    /// As one less the root of what is left.
    #[serde(rename = "1-sqrt")]
    OneMinusSqrt,
}

/// How it falls after that.
pub type Decay = WarmUp;

/// What the learning rate is multiplied by, step by step. Steps are counted from 0; `warmup` and `total` are numbers of steps.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// "constant".
    Constant,
    /// "constant_with_warmup": from 0 up, then constant.
    ConstantWithWarmup {
        /// The steps of the rise.
        warmup: u64,
    },
    /// "linear": up from 0, then down to 0.
    Linear {
        /// The steps of the rise.
        warmup: u64,
        /// All steps.
        total: u64,
    },
    /// "cosine" and "cosine_with_min_lr": up from 0, then down to `floor` as `cycles` waves.
    Cosine {
        /// The steps of the rise.
        warmup: u64,
        /// All steps.
        total: u64,
        /// How many waves: half a one goes down once.
        cycles: f64,
        /// The least factor.
        floor: f64,
    },
    /// "cosine_with_restarts": half a wave down, `cycles` times.
    CosineWithRestarts {
        /// The steps of the rise.
        warmup: u64,
        /// All steps.
        total: u64,
        /// How often it starts.
        cycles: f64,
    },
    /// "polynomial": down to `end` as a power of what is left.
    Polynomial {
        /// The steps of the rise.
        warmup: u64,
        /// All steps.
        total: u64,
        /// The power.
        power: f64,
        /// The last factor: the last learning rate over the first.
        end: f64,
    },
    /// "inverse_sqrt": down as the inverse root of the step.
    InverseSqrt {
        /// The steps of the rise.
        warmup: u64,
        /// In how many steps it comes to 1; by default those of the rise, or 10,000.
        timescale: Option<f64>,
    },
    /// "cosine_warmup_with_min_lr": as [`Schedule::Cosine`], but it never is 0 and ends a step earlier.
    CosineFromAbove {
        /// The steps of the rise.
        warmup: u64,
        /// All steps.
        total: u64,
        /// How many waves.
        cycles: f64,
        /// The least factor.
        floor: f64,
        /// The first factor; by default one step's share of the rise.
        start: Option<f64>,
    },
    /// "warmup_stable_decay": up, then constant, then down.
    WarmupStableDecay {
        /// The steps of the rise.
        warmup: u64,
        /// The steps at the full learning rate.
        stable: u64,
        /// The steps of the fall.
        decay: u64,
        /// How it rises.
        warmup_type: WarmUp,
        /// How it falls.
        decay_type: Decay,
        /// The least factor.
        floor: f64,
        /// How many waves, where it falls as waves.
        cycles: f64,
    },
}

impl Schedule {
    /// The factor of a step, from 0 on.
    pub fn factor(&self, step: u64) -> f64 {
        let warmup = self.warmup();
        if step < warmup
            && !matches!(self, Schedule::CosineFromAbove { .. } | Schedule::WarmupStableDecay { .. })
        {
            return step as f64 / warmup.max(1) as f64;
        }
        let since = step.saturating_sub(warmup) as f64;
        let progress = |total: u64| since / (total as f64 - warmup as f64).max(1.0);
        match *self {
            Schedule::Constant | Schedule::ConstantWithWarmup { .. } => 1.0,
            Schedule::Linear { total, .. } => {
                ((total as f64 - step as f64) / (total as f64 - warmup as f64).max(1.0)).max(0.0)
            }
            Schedule::Cosine { total, cycles, floor, .. } => {
                raised(wave(cycles * 2.0 * progress(total)), floor)
            }
            Schedule::CosineWithRestarts { total, cycles, .. } => match progress(total) {
                progress if progress >= 1.0 => 0.0,
                progress => wave((cycles * progress) % 1.0).max(0.0),
            },
            Schedule::Polynomial { total, power, end, .. } => {
                if step > total {
                    return end;
                }
                let left = 1.0 - since / (total as f64 - warmup as f64);
                (1.0 - end) * left.powf(power) + end
            }
            Schedule::InverseSqrt { timescale, .. } => {
                let timescale = timescale.unwrap_or(if warmup == 0 { 10_000.0 } else { warmup as f64 });
                ((step as f64 + timescale - warmup as f64) / timescale).sqrt().recip()
            }
            Schedule::CosineFromAbove { total, cycles, floor, start, .. } => {
                if step < warmup {
                    return match start {
                        None => (step as f64 + 1.0) / (warmup as f64).max(1.0),
                        Some(start) => start + (1.0 - start) * step as f64 / (warmup as f64 - 1.0).max(1.0),
                    };
                }
                let progress = (since + 1.0) / (total as f64 - warmup as f64).max(1.0);
                raised(wave(cycles * 2.0 * progress), floor)
            }
            Schedule::WarmupStableDecay { stable, decay, warmup_type, decay_type, floor, cycles, .. } => {
                if step < warmup {
                    let progress = step as f64 / warmup.max(1) as f64;
                    return raised(
                        match warmup_type {
                            WarmUp::Linear => progress,
                            WarmUp::Cosine => 1.0 - wave(progress),
                            WarmUp::OneMinusSqrt => 1.0 - (1.0 - progress).sqrt(),
                        },
                        floor,
                    );
                }
                if step < warmup + stable {
                    return 1.0;
                }
                if step >= warmup + stable + decay {
                    return floor;
                }
                let progress = (step - warmup - stable) as f64 / decay.max(1) as f64;
                raised(
                    match decay_type {
                        Decay::Linear => 1.0 - progress,
                        Decay::Cosine => wave(cycles * 2.0 * progress),
                        Decay::OneMinusSqrt => 1.0 - progress.sqrt(),
                    },
                    floor,
                )
            }
        }
    }

    fn warmup(&self) -> u64 {
        match *self {
            Schedule::Constant => 0,
            Schedule::ConstantWithWarmup { warmup }
            | Schedule::Linear { warmup, .. }
            | Schedule::Cosine { warmup, .. }
            | Schedule::CosineWithRestarts { warmup, .. }
            | Schedule::Polynomial { warmup, .. }
            | Schedule::InverseSqrt { warmup, .. }
            | Schedule::CosineFromAbove { warmup, .. }
            | Schedule::WarmupStableDecay { warmup, .. } => warmup,
        }
    }

    /// The schedule that JSON describes: `type` is the name of a variant in small letters.
    ///
    /// # Errors
    /// `Setting` when there is no such schedule or no such setting, or one cannot be.
    pub fn from_json(json: &str) -> Result<Schedule> {
        let schedule: Schedule =
            serde_json::from_str(json).map_err(|error| Error::Setting(error.to_string()))?;
        schedule.check()?;
        Ok(schedule)
    }

    /// Whether it can be followed.
    ///
    /// # Errors
    /// `Setting` for a polynomial that would rise, and times that are no positive numbers.
    pub fn check(&self) -> Result<()> {
        match *self {
            Schedule::Polynomial { end, .. } if end.is_nan() || end >= 1.0 => Err(Error::Setting(
                "lr_end must be smaller than the learning rate that the schedule begins with".into(),
            )),
            Schedule::InverseSqrt { timescale: Some(timescale), .. }
                if timescale.is_nan() || timescale <= 0.0 =>
            {
                Err(Error::Setting(format!("timescale must be positive, got {timescale}")))
            }
            _ => Ok(()),
        }
    }
}

/// Half a wave from 1 down to 0 as `progress` goes from 0 to 1.
fn wave(progress: f64) -> f64 {
    0.5 * (1.0 + (PI * progress).cos())
}

/// A factor from [0, 1] brought into [floor, 1].
fn raised(factor: f64, floor: f64) -> f64 {
    (factor * (1.0 - floor) + floor).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_rise_and_fall() {
        let linear = Schedule::Linear { warmup: 2, total: 6 };
        let factors: Vec<f64> = (0..8).map(|step| linear.factor(step)).collect();
        assert_eq!(factors, [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]);
        let cosine = Schedule::Cosine { warmup: 0, total: 4, cycles: 0.5, floor: 0.1 };
        assert!((cosine.factor(2) - 0.55).abs() < 1e-12);
        assert!((cosine.factor(4) - 0.1).abs() < 1e-12);
        assert_eq!(Schedule::Constant.factor(1000), 1.0);
        let polynomial = Schedule::Polynomial { warmup: 0, total: 4, power: 2.0, end: 0.2 };
        assert!((polynomial.factor(2) - 0.4).abs() < 1e-12);
        assert_eq!(polynomial.factor(5), 0.2);
        let slow = Schedule::InverseSqrt { warmup: 4, timescale: None };
        assert_eq!(slow.factor(16), 0.5);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        assert!(Schedule::Polynomial { warmup: 0, total: 1, power: 1.0, end: 1.0 }.check().is_err());
        assert!(Schedule::InverseSqrt { warmup: 0, timescale: Some(0.0) }.check().is_err());
        assert!(Schedule::Constant.check().is_ok());
    }
}
