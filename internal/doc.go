// Package internal holds what every part of the program uses and no user of it needs.
package internal
