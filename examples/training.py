"""A classifier, trained on a few sentences."""

from trustformers import AutoModelForSequenceClassification, AutoTokenizer, Trainer, TrainingArguments

tokenizer = AutoTokenizer.from_pretrained("bert-base-uncased")
model = AutoModelForSequenceClassification.from_pretrained("bert-base-uncased", num_labels=2)
texts = ["a good film", "a bad film"] * 40
train_dataset = [{**tokenizer(text), "labels": i % 2} for i, text in enumerate(texts)]

trainer = Trainer(
    model=model,
    args=TrainingArguments(
        output_dir="results",
        num_train_epochs=3,
        per_device_train_batch_size=16,
        gradient_accumulation_steps=4,
        fp16=True,
        logging_steps=100,
    ),
    train_dataset=train_dataset,
    processing_class=tokenizer,
)
print(trainer.train().metrics)
