"""The model that a study delivers: its best setting is trained again and exported."""
