"""Methods that adapt a SAM, one file each; `registry` finds them and applies them to a model."""
