"""Latency: sampling, statistics, validity, and the record that keeps all that was measured."""
