"""Files and settings that a kill, a full disk or a typing error cannot spoil; the ground that knows no RL."""
