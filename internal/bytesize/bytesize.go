// Package bytesize prints sizes as reports have them.
package bytesize

import "fmt"

// Megabytes prints bytes in units of 10^6, with one decimal.
func Megabytes[T ~int | ~int64](n T) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
