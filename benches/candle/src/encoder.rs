//! BERT: ids to hidden states, and texts to normalised embeddings.

use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::bert::{BertModel, Config};
use tokenizers::{PaddingParams, Tokenizer, TruncationParams};

pub struct Encoder {
    model: BertModel,
    tokenizer: Tokenizer,
}

impl Encoder {
    pub fn open(folder: &Path) -> Result<Self> {
        let config: Config = serde_json::from_slice(&std::fs::read(folder.join("config.json"))?)
            .map_err(candle_core::Error::wrap)?;
        let files = [folder.join("model.safetensors")];
        // SAFETY: nobody writes to the file while it is mapped.
        let scope = unsafe { VarBuilder::from_mmaped_safetensors(&files, DType::F32, &Device::Cpu)? };
        let mut tokenizer =
            Tokenizer::from_file(folder.join("tokenizer.json")).map_err(candle_core::Error::msg)?;
        tokenizer.with_padding(Some(PaddingParams::default()));
        let truncation = TruncationParams { max_length: 512, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(candle_core::Error::msg)?;
        Ok(Self { model: BertModel::load(scope, &config)?, tokenizer })
    }

    /// (batch, length) of ids to (batch, length, hidden).
    pub fn forward(&self, ids: &Tensor) -> Result<Tensor> {
        self.model.forward(ids, &ids.zeros_like()?, None)
    }

    /// The means of texts' hidden states, each of length one, in batches of texts of similar length.
    pub fn embed(&self, texts: &[String], size: usize) -> Result<Vec<Tensor>> {
        let mut sorted: Vec<&str> = texts.iter().map(String::as_str).collect();
        sorted.sort_by_key(|text| std::cmp::Reverse(text.len()));
        sorted.chunks(size).map(|batch| self.embed_batch(batch)).collect()
    }

    fn embed_batch(&self, texts: &[&str]) -> Result<Tensor> {
        let encodings =
            self.tokenizer.encode_batch_fast(texts.to_vec(), true).map_err(candle_core::Error::msg)?;
        let rows = |of: fn(&tokenizers::Encoding) -> &[u32]| {
            let rows: Vec<Vec<u32>> = encodings.iter().map(|encoding| of(encoding).to_vec()).collect();
            Tensor::new(rows, &Device::Cpu)
        };
        let (ids, mask) = (rows(|one| one.get_ids())?, rows(|one| one.get_attention_mask())?);
        let hidden = self.model.forward(&ids, &ids.zeros_like()?, Some(&mask))?;
        let mask = mask.to_dtype(DType::F32)?.unsqueeze(2)?;
        // A common factor is no matter: the sum is normalised.
        let sum = hidden.broadcast_mul(&mask)?.sum(1)?;
        sum.broadcast_div(&sum.sqr()?.sum_keepdim(1)?.sqrt()?)
    }
}
