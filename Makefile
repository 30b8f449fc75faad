# A thin front to CMake: every goal installs what is missing first.
BUILD := build/release
MOE2 := $(BUILD)/moe2

.PHONY: all deps build demo test bench check install clean

all: build

deps:
	@bash tools/install-deps.sh

build: deps
	@mkdir -p build
	@cmake --preset release >$(CURDIR)/build/configure.log 2>&1 || { cat build/configure.log; exit 1; }
	@cmake --build --preset release

demo: build
	@bash tools/demo.sh $(MOE2)

test: build
	@ctest --preset release -j2

bench: build
	@bash bench/run.sh

check: build
	@bash tools/check.sh

install: build
	@cmake --install $(BUILD) $(if $(PREFIX),--prefix $(PREFIX))

clean:
	rm -rf build
