package command

import (
	"os"
	"strings"
)

// Line is what repeats the running program, which is a command of this module,
// in a shell.
func Line(name string) string { return line(name, os.Args[1:]) }

func line(name string, args []string) string {
	parts := []string{"go run ./cmd/" + name}
	for _, a := range args {
		if strings.ContainsAny(a, " \t\"'$\\*?;&|<>()`") || a == "" {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		parts = append(parts, a)
	}
	return strings.Join(parts, " ")
}
