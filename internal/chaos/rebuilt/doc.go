// Package rebuilt builds the program of the chaos suite again with one file
// changed: a mechanism of the library taken out, or a wrong clock.
package rebuilt
