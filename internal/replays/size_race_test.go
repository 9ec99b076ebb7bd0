//go:build race

package replays_test

// many is fewer where each costs thirty times as much; scripts/test runs the
// whole hundred thousand without the race detector.
const many = 4_000
