"""In-process experiments: pretraining, online training, evaluation, benchmarks, reports."""
