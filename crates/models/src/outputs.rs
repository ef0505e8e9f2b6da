//! What a forward pass gives.

use trustformers_tensor::Tensor;

/// The outputs of a model, float32, named as in transformers; what a model or a call does not have is `None`. Positions that the mask
/// hides are zero.
#[derive(Default)]
pub struct Outputs {
    /// The mean loss, a number, where labels were given.
    pub loss: Option<Tensor>,
    /// Scores: (batch, length, tokens or labels), (batch, labels), or (batch, choices).
    pub logits: Option<Tensor>,
    /// That an answer starts at a position: (batch, length).
    pub start_logits: Option<Tensor>,
    /// That it ends there.
    pub end_logits: Option<Tensor>,
    /// BERT's masked language model: (batch, length, tokens).
    pub prediction_logits: Option<Tensor>,
    /// BERT's next sentence prediction: (batch, 2).
    pub seq_relationship_logits: Option<Tensor>,
    /// ALBERT's prediction whether two texts are in order: (batch, labels).
    pub sop_logits: Option<Tensor>,
    /// (batch, length, hidden); of the decoder if there are two stacks.
    pub last_hidden_state: Option<Tensor>,
    /// (batch, hidden)
    pub pooler_output: Option<Tensor>,
    /// The embeddings and every layer's output, (batch, length, hidden) each; the last one after the final norm.
    pub hidden_states: Option<Vec<Tensor>>,
    /// The loss that spreads tokens over experts, a number.
    pub aux_loss: Option<Tensor>,
    /// The scores of experts in every layer, (batch * length, experts) each.
    pub router_logits: Option<Vec<Tensor>>,
    /// Every layer's probabilities, (batch, heads, length, keys) each.
    pub attentions: Option<Vec<Tensor>>,
    /// The decoder's hidden states.
    pub decoder_hidden_states: Option<Vec<Tensor>>,
    /// The decoder's probabilities.
    pub decoder_attentions: Option<Vec<Tensor>>,
    /// The decoder's probabilities over the source, (batch, heads, length, source) each.
    pub cross_attentions: Option<Vec<Tensor>>,
    /// The encoder's last hidden states: (batch, source, hidden).
    pub encoder_last_hidden_state: Option<Tensor>,
    /// The encoder's hidden states.
    pub encoder_hidden_states: Option<Vec<Tensor>>,
    /// The encoder's probabilities.
    pub encoder_attentions: Option<Vec<Tensor>>,
}

/// One output: a tensor, or one for each layer.
pub enum Output {
    /// A tensor.
    One(Tensor),
    /// One for each layer.
    Many(Vec<Tensor>),
}

impl Outputs {
    /// What there is, by name.
    pub fn into_fields(self) -> impl Iterator<Item = (&'static str, Output)> {
        let one = [
            ("loss", self.loss),
            ("aux_loss", self.aux_loss),
            ("logits", self.logits),
            ("start_logits", self.start_logits),
            ("end_logits", self.end_logits),
            ("prediction_logits", self.prediction_logits),
            ("seq_relationship_logits", self.seq_relationship_logits),
            ("sop_logits", self.sop_logits),
            ("last_hidden_state", self.last_hidden_state),
            ("pooler_output", self.pooler_output),
            ("encoder_last_hidden_state", self.encoder_last_hidden_state),
        ];
        let many = [
            ("hidden_states", self.hidden_states),
            ("attentions", self.attentions),
            ("decoder_hidden_states", self.decoder_hidden_states),
            ("decoder_attentions", self.decoder_attentions),
            ("cross_attentions", self.cross_attentions),
            ("router_logits", self.router_logits),
            ("encoder_hidden_states", self.encoder_hidden_states),
            ("encoder_attentions", self.encoder_attentions),
        ];
        let one = one.into_iter().filter_map(|(name, tensor)| Some((name, Output::One(tensor?))));
        one.chain(many.into_iter().filter_map(|(name, tensors)| Some((name, Output::Many(tensors?)))))
    }
}
