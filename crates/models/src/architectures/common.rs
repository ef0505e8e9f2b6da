//! What several architectures have alike.

use trustformers_tensor::Activation;

use crate::Config;
use crate::Error;
use crate::Result;
use crate::heads::{
    BiasAt, ClassifierSpec, HeadSpec, LanguageSpec, Pool, SequenceSpec, TransformSpec, classifier,
};
use crate::spec::*;

/// The width of a head: `head_dim` if the configuration has it, else the hidden size over the heads, which must divide it.
pub(super) fn head_dim(config: &Config, hidden_size: usize, heads: usize) -> Result<usize> {
    if config.has("head_dim") {
        return config.count("head_dim");
    }
    if !hidden_size.is_multiple_of(heads) {
        return Err(Error::Config(format!(
            "The hidden size ({hidden_size}) is not a multiple of the number of attention heads ({heads}): \
             change `hidden_size` or `num_attention_heads`"
        )));
    }
    Ok(hidden_size / heads)
}

/// Word embeddings and nothing else; that of the padding token gets no gradient.
pub(super) fn words(config: &Config, path: Path, width: usize) -> Result<EmbeddingsSpec> {
    Ok(EmbeddingsSpec {
        vocab_size: config.count("vocab_size")?,
        width,
        word: path,
        padding: config.token("pad_token_id")?,
        scale: 1.0,
        scales_given: false,
        positions: None,
        segments: None,
        norm: None,
        projection: None,
        projects_words: false,
        final_norm: None,
        dropout: 0.0,
        convolution: None,
    })
}

/// BERT's embeddings: words, positions and segments, added and normalised.
pub(super) fn bert_embeddings(config: &Config, width: usize, eps: f32) -> Result<EmbeddingsSpec> {
    Ok(EmbeddingsSpec {
        positions: Some(PositionsSpec {
            table: PositionTable::Learned("embeddings.position_embeddings"),
            rows: config.count("max_position_embeddings")?,
            offset: 0,
            numbering: Numbering::Index,
        }),
        segments: Some(("embeddings.token_type_embeddings", config.count("type_vocab_size")?)),
        norm: Some(layer_norm("embeddings.LayerNorm", eps)),
        dropout: config.dropout("hidden_dropout_prob")?,
        ..words(config, "embeddings.word_embeddings", width)?
    })
}

/// BERT's stack of post-norm layers, which RoBERTa and others have too.
pub(super) fn bert_stack(config: &Config, embeddings: EmbeddingsSpec, eps: f32) -> Result<StackSpec> {
    // Any other kind would change what is computed.
    config.only("position_embedding_type", &["absolute".into()])?;
    let hidden_size = config.count("hidden_size")?;
    let heads = config.count("num_attention_heads")?;
    let head_dim = head_dim(config, hidden_size, heads)?;
    let projection =
        Projection::separate("attention.self.query", "attention.self.key", "attention.self.value", true);
    let attention = AttentionSpec {
        dropout: config.dropout("attention_probs_dropout_prob")?,
        ..AttentionSpec::new(projection, linear("attention.output.dense", true), heads, head_dim)
    };
    let dropout = config.dropout("hidden_dropout_prob")?;
    let feed_forward = FeedForwardSpec {
        kind: FeedForwardKind::Plain {
            up: linear("intermediate.dense", true),
            down: linear("output.dense", true),
        },
        width: config.count("intermediate_size")?,
        activation: config.activation("hidden_act")?,
        dropout: 0.0,
    };
    let layer = LayerSpec {
        path: None,
        attention: Sublayer::post_norm(attention, layer_norm("attention.output.LayerNorm", eps))
            .dropping(dropout),
        cross_attention: None,
        feed_forward: Sublayer::post_norm(feed_forward, layer_norm("output.LayerNorm", eps))
            .dropping(dropout),
        parallel: false,
        dropout: 0.0,
    };
    Ok(StackSpec {
        hidden_size,
        embeddings,
        layers_path: "encoder.layer",
        layers: vec![layer; config.layers("num_hidden_layers")?],
        final_norm: None,
        project_out: None,
        causal: false,
        parts_texts: false,
        rotaries: Vec::new(),
        bias: None,
        dropout: 0.0,
        layer_drop: 0.0,
        outgrows_f16: false,
    })
}

/// BERT's stack as the decoder that a configuration may make of it, with cross-attention or without.
pub(super) fn bert_decoder(config: &Config, mut stack: StackSpec, eps: f32) -> Result<StackSpec> {
    stack.causal = config.flag("is_decoder")?;
    if !config.flag("add_cross_attention")? {
        return Ok(stack);
    }
    if !stack.causal {
        return Err(Error::Config("`add_cross_attention` is only for decoders: set `is_decoder` too".into()));
    }
    for layer in &mut stack.layers {
        let projection = Projection::separate(
            "crossattention.self.query",
            "crossattention.self.key",
            "crossattention.self.value",
            true,
        );
        let output = linear("crossattention.output.dense", true);
        let attention = AttentionSpec { projection, output, ..layer.attention.part.clone() };
        let norm = layer_norm("crossattention.output.LayerNorm", eps);
        layer.cross_attention = Some(Sublayer::post_norm(attention, norm).dropping(layer.attention.dropout));
    }
    Ok(stack)
}

/// A causal language model's head: a matrix, often the table of word embeddings.
pub(super) fn causal_lm(config: &Config) -> Result<HeadSpec> {
    language_model(config, BiasAt::None)
}

/// A causal language model's head with a bias, or without.
pub(super) fn language_model(config: &Config, bias: BiasAt) -> Result<HeadSpec> {
    let head = LanguageSpec::new(config, "lm_head", config.count("hidden_size")?)?;
    Ok(HeadSpec::Language(LanguageSpec { shifts: true, bias, ..head }))
}

/// A classification of positions at `score`.
pub(super) fn token_score(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Tokens(classifier("score").dropping(decoder_dropout(config)?)))
}

/// What decoders drop before the scores of positions: a tenth where the configuration has no field for it.
pub(super) fn decoder_dropout(config: &Config) -> Result<f32> {
    config.dropout_or(&["classifier_dropout", "hidden_dropout"], 0.1)
}

/// A decoder's classification of texts: the last token that is not padding, through a matrix.
pub(super) fn last_token_score(config: &Config) -> Result<HeadSpec> {
    let pool = Pool::Last(config.token("pad_token_id")?);
    Ok(HeadSpec::Sequence(SequenceSpec::new(pool, ClassifierSpec::new(linear("score", false)))))
}

/// BERT's masked language model.
pub(super) fn bert_predictions(config: &Config) -> Result<LanguageSpec> {
    let norm = layer_norm("cls.predictions.transform.LayerNorm", config.number("layer_norm_eps")?);
    Ok(LanguageSpec {
        transform: Some(TransformSpec {
            dense: Some(linear("cls.predictions.transform.dense", true)),
            activation: config.activation("hidden_act")?,
            norm: Some(norm),
            dropout: 0.0,
        }),
        bias: BiasAt::Path("cls.predictions.bias"),
        ..LanguageSpec::new(config, "cls.predictions.decoder", config.count("hidden_size")?)?
    })
}

/// RoBERTa's masked language model.
pub(super) fn roberta_predictions(config: &Config) -> Result<LanguageSpec> {
    Ok(LanguageSpec {
        transform: Some(TransformSpec {
            dense: Some(linear("lm_head.dense", true)),
            activation: Activation::Gelu,
            norm: Some(layer_norm("lm_head.layer_norm", config.number("layer_norm_eps")?)),
            dropout: 0.0,
        }),
        bias: BiasAt::Path("lm_head.bias"),
        ..LanguageSpec::new(config, "lm_head.decoder", config.count("hidden_size")?)?
    })
}

/// A masked language model's head as RoBERTa has it.
pub(super) fn roberta_masked_lm(config: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Language(roberta_predictions(config)?))
}

/// RoBERTa's positions: after that of the padding token, `padding`.
pub(super) fn roberta_positions(config: &Config, padding: i64) -> Result<PositionsSpec> {
    let rows = config.count("max_position_embeddings")?;
    let offset = usize::try_from(padding).ok().map(|padding| padding + 1).filter(|&offset| offset < rows);
    let refused = || {
        Error::Config(format!(
            "`max_position_embeddings` ({rows}) must be more than `pad_token_id` ({padding}) and 1: positions begin behind it"
        ))
    };
    Ok(PositionsSpec {
        table: PositionTable::Learned("embeddings.position_embeddings"),
        rows,
        offset: offset.ok_or_else(refused)?,
        numbering: Numbering::NotPadding(padding),
    })
}

/// What BERT drops before its scores.
pub(super) fn bert_dropout(config: &Config) -> Result<f32> {
    config.dropout_or(&["classifier_dropout", "hidden_dropout_prob"], 0.0)
}

/// A classification of texts by what stands for them, through a layer at `dense` with the given activation. As much is dropped before
/// that as behind it.
pub(super) fn dense_classifier(
    pool: Pool,
    activation: Activation,
    [dense, scores]: [Path; 2],
    dropout: f32,
) -> HeadSpec {
    let transform = TransformSpec { dropout, ..TransformSpec::dense(linear(dense, true), activation) };
    let scores = ClassifierSpec { transform: Some(transform), dropout, ..classifier(scores) };
    HeadSpec::Sequence(SequenceSpec::new(pool, scores))
}

/// A classification of texts by their first position, through a layer with the given activation.
pub(super) fn first_classifier(activation: Activation, dropout: f32) -> HeadSpec {
    dense_classifier(Pool::First, activation, ["classifier.dense", "classifier.out_proj"], dropout)
}

/// A classification of texts by the model's pooler.
pub(super) fn pooled_classifier(config: &Config) -> Result<HeadSpec> {
    pooled_with(bert_dropout(config)?)
}

/// The same with another dropout: that of the hidden states whatever the configuration has for classifiers.
pub(super) fn pooled_choice(config: &Config) -> Result<HeadSpec> {
    pooled_with(config.dropout("hidden_dropout_prob")?)
}

/// A classification of texts by the model's pooler, of which so much is dropped.
pub(super) fn pooled_with(dropout: f32) -> Result<HeadSpec> {
    Ok(HeadSpec::Sequence(SequenceSpec::new(Pool::Pooler, classifier("classifier").dropping(dropout))))
}

/// A classification of positions at `classifier`.
pub(super) fn token_classifier(config: &Config) -> Result<HeadSpec> {
    tokens_with(bert_dropout(config)?)
}

/// A classification of positions at `classifier`, before which so much is dropped.
pub(super) fn tokens_with(dropout: f32) -> Result<HeadSpec> {
    Ok(HeadSpec::Tokens(classifier("classifier").dropping(dropout)))
}

/// Question answering at `qa_outputs`.
pub(super) fn qa_outputs(_: &Config) -> Result<HeadSpec> {
    Ok(HeadSpec::Span(classifier("qa_outputs")))
}

/// The tanh layer over position 0 that BERT's model ends with.
pub(super) const POOLER: Option<(LinearSpec, Activation)> =
    Some((linear("pooler.dense", true), Activation::Tanh));
