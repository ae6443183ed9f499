"""What makes a regularizer of many: composition, order, compatibility, and a model's own dropout."""
