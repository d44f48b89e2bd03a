"""Places of this model in other people's tools: the evaluation kits lmms-eval and VLMEvalKit."""
