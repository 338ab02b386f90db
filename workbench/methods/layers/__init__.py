"""The layers of a trial: activations, gradients, decision boundary."""
