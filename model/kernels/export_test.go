package kernels

// What tests outside of the package need of it.
var (
	CheckStored = checkStored
	EachWay     = eachWay
)
