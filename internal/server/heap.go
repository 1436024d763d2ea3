package server

import "runtime"

// heapFloor keeps the garbage collector from running all the time while little
// is in use: it looks at what is reachable, and these bytes are, though nothing
// ever touches them, so that they take no memory. Without them the heap of a
// server with little in its queue is collected every few hundred messages, and
// each time the stacks of goroutines that wait are cut down.
const heapFloor = 32 << 20

// floorHeap returns what has to be called when the server ends.
func floorHeap() (release func()) {
	floor := make([]byte, heapFloor)
	return func() { runtime.KeepAlive(floor) }
}
