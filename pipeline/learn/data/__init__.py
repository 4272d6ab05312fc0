"""What is learnt from: a store in memory, its labels, splits and batches."""
