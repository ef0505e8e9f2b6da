"""Answers in one line, by the default models of two tasks."""

from trustformers import pipeline

classifier = pipeline("sentiment-analysis")
print(classifier("I love this library!"))
print(classifier(["It is fast.", "It is slow."] * 32, batch_size=32)[0])

answerer = pipeline("question-answering")
print(answerer(question="What does it need?", context="The wheel needs NumPy and nothing else."))
