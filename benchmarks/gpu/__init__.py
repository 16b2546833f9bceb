"""What training, sampling and decoding cost on a GPU, at the paper's scale, with random weights.

python -m benchmarks.gpu FOLDER [--case CASE ...]
"""
