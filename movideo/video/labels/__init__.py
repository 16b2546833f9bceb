"""What is made of clips ahead of training, in folders of shards that many processes write and read.

Labels, and what encoders make of a clip.
"""
