//go:build !race

package replays_test

// many is the size of the large replay.
const many = 100_000
