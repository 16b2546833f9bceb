.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-slurm check bench bench-check decoders tables film weights clean

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

DEMO_FIT := .venv/bin/movideo fit --trainer.logger.init_args.save_dir demo/runs --trainer.logger.init_args.version 0
# Arguments: name of the run, what is tested, folder of videos.
demo_test = .venv/bin/movideo test $(2) --config demo/test.yaml --data.videos demo/$(3) \
  --trainer.logger.init_args.name $(1)-$(3) --trainer.logger.init_args.version .
FROZEN_SEED := 20261127
CHECKPOINT := version_0/checkpoints/last.ckpt

demo: install ## Train the stages on scenes and real clips, make a video, measure it (15 minutes)
	rm -rf demo/runs demo/test demo/autoencoder demo/model
	.venv/bin/movideo scenes --out demo/scenes --clips 160
	$(PYTHON) -m benchmarks.sample_clips demo/real demo/real_unseen
	.venv/bin/movideo precompute --config demo/data.yaml
	$(DEMO_FIT) --config stage0.yaml --config demo/data.yaml --config demo/stage0.yaml
	.venv/bin/movideo export --out demo --checkpoints '[demo/runs/stage0/$(CHECKPOINT)]'
	$(DEMO_FIT) --config stage1.yaml --config demo/data.yaml --config demo/stage1.yaml
	$(DEMO_FIT) --config stage2.yaml --config demo/data.yaml --config demo/stage2.yaml
	$(DEMO_FIT) --config stage3.yaml --config demo/data.yaml --config demo/stage3.yaml
	.venv/bin/movideo export --out demo/model \
	  --checkpoints '[demo/runs/stage1/$(CHECKPOINT), demo/runs/stage2/$(CHECKPOINT), demo/runs/stage3/$(CHECKPOINT)]'
	.venv/bin/movideo generate --model demo/model --image docs/key_frame.png --fps 8 \
	  --out demo/movideo.mp4 --visualization demo/movideo.png --save_motion demo/motion.safetensors
	.venv/bin/movideo scenes --out demo/scenes_unseen --clips 24 --seed $(FROZEN_SEED) --readable 1
	$(foreach videos,scenes_unseen real_unseen,\
	  $(call demo_test,stage1,--config stage1.yaml --config demo/stage1.yaml --ckpt_path demo/runs/stage1/$(CHECKPOINT),$(videos)) && \
	  $(call demo_test,stage2,--config stage2.yaml --config demo/stage2.yaml --ckpt_path demo/runs/stage2/$(CHECKPOINT),$(videos)) && \
	  $(call demo_test,stage3,--config stage3.yaml --config demo/stage3.yaml --ckpt_path demo/runs/stage3/$(CHECKPOINT),$(videos)) && \
	  $(call demo_test,chain,--config generation.yaml --model.model demo/model --model.num_inference_steps 10,$(videos)) &&) true
	$(PYTHON) -m benchmarks.demo_table demo

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

WEIGHTS_FIT = .venv/bin/movideo fit --config $(1).yaml --config weights/$(2).yaml --trainer.logger.init_args.version 0

film: install ## Fetch a film, cut it into shots, list its clips: weights/film, weights/film_unseen (3 minutes)
	$(PYTHON) -m pip download --quiet --no-deps --no-binary :all: --dest weights/download moviepy==2.2.1
	$(PYTHON) -m benchmarks.film weights/download/moviepy-2.2.1.tar.gz weights/film weights/film_unseen
	$(foreach videos,film film_unseen,\
	  .venv/bin/movideo index --videos weights/$(videos) --out weights/$(videos).csv --clips_per_video 16 &&) true

weights: film ## Train the embedded weights again (hours)
	.venv/bin/movideo scenes --out weights/scenes --clips 4000 --seed 1
	.venv/bin/movideo precompute --config weights/base.yaml
	$(call WEIGHTS_FIT,stage0,autoencoder)
	.venv/bin/movideo export --out movideo/weights --checkpoints '[runs/autoencoder/$(CHECKPOINT)]'
	$(call WEIGHTS_FIT,image_encoder,image_encoder)
	.venv/bin/movideo export --out weights/encoder --checkpoints '[runs/image_encoder/$(CHECKPOINT)]'
	cp -r weights/encoder/. movideo/weights/
	$(call WEIGHTS_FIT,stage1,motion)
	$(call WEIGHTS_FIT,stage2,video)
	.venv/bin/movideo fit --config stage3.yaml --trainer.logger.init_args.version 0
	.venv/bin/movideo export --out weights/model \
	  --checkpoints '[runs/motion/$(CHECKPOINT), runs/video/$(CHECKPOINT), runs/stage3/$(CHECKPOINT)]'
	cp -r weights/model/. movideo/weights/

clean: ## Remove what builds, tests and the demo left behind
	rm -rf bench build dist runs data demo evaluation predictions tables .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find weights -mindepth 1 -maxdepth 1 -not -name parts -exec rm -rf {} +
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
