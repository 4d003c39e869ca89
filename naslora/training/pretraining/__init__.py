"""Training of small SAMs on generated scenes, with prompts as SAM was trained."""
