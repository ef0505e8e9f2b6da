"""A text's hidden states, as a NumPy array."""

from trustformers import AutoModel, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")
model = AutoModel.from_pretrained("bert-base-uncased")

inputs = tokenizer("Hello, world!", return_tensors="np")
outputs = model(**inputs)

print(outputs.last_hidden_state.shape)  # (1, tokens, hidden)
print(outputs.last_hidden_state.mean(axis=1))
