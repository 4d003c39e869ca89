"""What an image encoder attends to, and which frequencies its features hold (Table 4)."""
