"""A lab's folder to start from, made of what the package ships, and the wheel that its image installs."""
