"""What is made of clips ahead of training, in files of many clips: labels, latents, tokens."""
