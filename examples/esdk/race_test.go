//go:build race

package main

// The binary under test then has the race detector, too.
const raceDetector = true
