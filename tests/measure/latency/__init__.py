"""Tests of ``yolor_deploy.measure.latency``."""
