"""Fine-tuning of pretrained networks and of earlier trials."""
