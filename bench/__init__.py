"""Benchmarks, side by side with their rivals in one run: ratios and medians, never bare boasts."""
