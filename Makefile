# `scripts/check` does the set-up too; these work in an environment that has the project and its dev group.
.PHONY: check fix test docs wheel

check: ## everything that must pass
	ruff format --check .
	ruff check .
	mypy
	pytest

fix: ## what can be mended by a tool
	ruff format .
	ruff check --fix .

test: ## without the slow ones
	pytest -m "not slow"

wheel: ## into dist/
	python -m build

docs: ## what is made from the program: docs/cli.md, and the pictures from real runs
	python scripts/render_cli.py
	python scripts/draw_docs.py
