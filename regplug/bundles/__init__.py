"""Bundles: writes a trained model as verified files, verifies them again, and predicts with them.

`write_bundle` is in `writing`, `verify_bundle` in `verifying`, `predict` in `predict`, `inspect_bundle` in `describe`.
Nothing is imported here, because `predict` must not import torch.
"""
