.DEFAULT_GOAL := help
.PHONY: help install demo quality test test-slow test-slurm check bench bench-check decoders tables film weights clean

BASE_PYTHON ?= python3
PYTHON := .venv/bin/python
INSTALLED := .venv/.installed
# Threads that wait shall spin only shortly: long halves the speed of a machine that does anything
# else, and not at all halves that of networks as small as these.
export GOMP_SPINCOUNT := 20000

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with everything for development (minutes, once)

$(INSTALLED): pyproject.toml constraints.txt
	test -x $(PYTHON) || $(BASE_PYTHON) -m venv .venv
	$(PYTHON) -m pip install --constraint constraints.txt --editable ".[dev,index,metrics,samples]"
	touch $@

CHECKPOINT := version_0/checkpoints/last.ckpt
# Arguments: name of the files, picture.
demo_video = .venv/bin/movideo generate --image $(2) --fps 8 --out demo/$(1).gif \
  --visualization demo/$(1)_sheet.png --save_motion demo/$(1)_motion.safetensors
DEMO_FIT = .venv/bin/movideo fit --config $(1).yaml --config demo/data.yaml --config demo/$(1).yaml
# Arguments: the model, its row of the table and the clips.
demo_test = .venv/bin/movideo test --config generation.yaml --config demo/data.yaml --config demo/test.yaml \
  --model.model $(1) --trainer.logger.init_args.name $(2)

demo: install ## Make videos of unseen pictures, measure them, train the stages a little further (6 minutes)
	rm -rf demo
	$(PYTHON) -m benchmarks.demo_pictures demo
	$(call demo_video,scene,demo/scene.png)
	$(call demo_video,film,demo/film.png)
	$(call demo_test,embedded,embedded/scenes)
	$(call demo_test,embedded,embedded/film) --data.videos demo/real_unseen
	$(foreach stage,stage0 stage1 stage2 stage3,$(call DEMO_FIT,$(stage)) &&) true
	.venv/bin/movideo export --out demo/model \
	  --checkpoints '[$(foreach stage,stage1 stage2 stage3,demo/runs/$(stage)/$(CHECKPOINT),)]'
	$(call demo_test,demo/model,fine-tuned/scenes)
	$(call demo_test,demo/model,fine-tuned/film) --data.videos demo/real_unseen
	$(PYTHON) -m benchmarks.demo_table demo

quality: install ## Measure the embedded weights; fails where a score is lower than in benchmarks/quality.json (5 minutes)
	$(PYTHON) -m benchmarks.quality --baseline benchmarks/quality.json

test: install ## Run the fast tests
	$(PYTHON) -m pytest -n 2 --dist loadfile

test-slow: install ## Run the tests that take minutes
	$(PYTHON) -m pytest -m slow

test-slurm: install ## Run the job scripts under a SLURM of two nodes (installs it: root, Debian)
	sh tests/slurm/install.sh
	$(PYTHON) -m pytest -m slurm -rs tests/slurm

check: install ## Lint, formatting, types and import contracts
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy
	.venv/bin/lint-imports

bench: install ## Measure what takes time beside its peers: bench/table.md (20 minutes; CASE=unet: one)
	$(PYTHON) -m benchmarks $(CASE)

bench-check: install ## The same; fails where a ratio is a tenth worse than benchmarks/baseline.json
	$(PYTHON) -m benchmarks $(CASE) --baseline benchmarks/baseline.json

decoders: install ## Train the 3-D and the flow-augmented decoder and compare them with the 2-D one (20 minutes)
	.venv/bin/movideo fit --config stage3.yaml --model.decoder movideo.models.TemporalDecoder \
	  --trainer.logger.init_args.name decoder-3d --trainer.logger.init_args.version 0
	.venv/bin/movideo fit --config stage3.yaml --trainer.logger.init_args.version 0
	.venv/bin/movideo test --config stage3.yaml --ckpt_path runs/stage3/$(CHECKPOINT) \
	  --model.baselines '{3-D: runs/decoder-3d/$(CHECKPOINT)}' --trainer.logger.init_args.version table

tables: install ## Fill two of the paper's tables with real clips and the embedded model (5 minutes)
	$(PYTHON) -m benchmarks.davis_layout --out tables/DAVIS
	$(foreach table,davis_i2v davis_decoder,\
	  .venv/bin/movideo test --config eval/$(table).yaml --data.folder tables/DAVIS --model.out tables/$(table) &&) true

WEIGHTS_FIT = .venv/bin/movideo fit --config $(1).yaml --config weights/$(2).yaml --ckpt_path auto --trainer.logger.init_args.version 0

film: install ## Fetch a film, cut it into shots, list its clips: weights/film, weights/film_unseen (3 minutes)
	$(PYTHON) -m pip download --quiet --no-deps --no-binary :all: --dest weights/download moviepy==2.2.1
	$(PYTHON) -m benchmarks.film weights/download/moviepy-2.2.1.tar.gz weights/film weights/film_unseen
	$(foreach videos,film film_unseen,\
	  .venv/bin/movideo index --videos weights/$(videos) --out weights/$(videos).csv --clips_per_video 16 &&) true

weights: film ## Train the embedded weights again; goes on where it was stopped (hours)
	.venv/bin/movideo scenes --out weights/scenes --clips 4000 --seed 1
	.venv/bin/movideo precompute --config weights/base.yaml
	$(call WEIGHTS_FIT,stage0,autoencoder)
	.venv/bin/movideo export --out movideo/weights --checkpoints '[runs/autoencoder/$(CHECKPOINT)]'
	$(call WEIGHTS_FIT,image_encoder,image_encoder)
	.venv/bin/movideo export --out weights/encoder --checkpoints '[runs/image_encoder/$(CHECKPOINT)]'
	cp -r weights/encoder/. movideo/weights/
	$(call WEIGHTS_FIT,stage1,motion)
	$(call WEIGHTS_FIT,stage2,video)
	$(call WEIGHTS_FIT,stage3,decoder)
	.venv/bin/movideo export --out weights/model --steps '[16, 3]' \
	  --checkpoints '[runs/motion/$(CHECKPOINT), runs/video/$(CHECKPOINT), runs/decoder/$(CHECKPOINT)]'
	cp -r weights/model/. movideo/weights/
	cat benchmarks/film_credit.md >> movideo/weights/README.md

clean: ## Remove what builds, tests and the demo left behind
	rm -rf bench build dist runs data demo evaluation predictions tables weights .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
