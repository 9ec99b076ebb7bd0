package callbackd

// FailureKinds lists the kinds of failed attempts by which statistics count: the fault, and
// for an answer other than 2xx the class of its status. The stores save a kind as its index
// in this list: add new ones at the end only.
var FailureKinds = [NumFailureKinds]string{
	"status_3xx", "status_4xx", "status_5xx", "status_other",
	string(FaultRefused), string(FaultDNS), string(FaultConnect), string(FaultTLS), string(FaultTimeout), string(FaultProtocol),
	string(FaultProxy), string(FaultLocal), string(FaultShutdown), string(FaultQuery), string(FaultAuth),
}

// NumFailureKinds is the number of [FailureKinds].
const NumFailureKinds = 15

// FailureKind returns the index in [FailureKinds] of an attempt that failed with a fault, and
// with a status when that is FaultStatus. It returns -1 for an unknown fault, and for none.
func FailureKind(f Fault, status int) int {
	switch f {
	case FaultStatus:
		if class := status / 100; class >= 3 && class <= 5 {
			return class - 3
		}
		return 3
	case FaultRefused:
		return 4
	case FaultDNS:
		return 5
	case FaultConnect:
		return 6
	case FaultTLS:
		return 7
	case FaultTimeout:
		return 8
	case FaultProtocol:
		return 9
	case FaultProxy:
		return 10
	case FaultLocal:
		return 11
	case FaultShutdown:
		return 12
	case FaultQuery:
		return 13
	case FaultAuth:
		return 14
	}
	return -1
}
