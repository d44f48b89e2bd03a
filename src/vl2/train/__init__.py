"""Learning: recipes, data, and the stages of training on the Trainer of transformers."""
