"""Tests of ``yolor_deploy.benchmark``."""
