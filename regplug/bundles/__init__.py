"""Bundles: a trained model as files that are proven, their verification and inference from them.

`write_bundle` is in `writing`, `verify_bundle` in `verifying`, `predict` in `predict`, `inspect_bundle` in `describe`.
Nothing is imported here: `predict` must not pay for torch.
"""
