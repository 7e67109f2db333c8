"""What this project is installed from: lock files, licences, a bill of materials.

python -m tools.supply_chain torch       the locks of torch and of what its CUDA build needs
python -m tools.supply_chain licences    docs/licences.md
python -m tools.supply_chain sbom        sbom.json
"""
