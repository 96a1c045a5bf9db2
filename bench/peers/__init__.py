"""PyTorch doing what mlkd does, written for comparison."""
