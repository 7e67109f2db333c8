"""What this project is installed from: lock files.

python -m tools.supply_chain torch       the locks of torch and of what its CUDA build needs
"""
