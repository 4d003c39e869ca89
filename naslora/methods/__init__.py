"""Methods that adapt a SAM, one file each; `registry` finds them and puts them on a model."""
