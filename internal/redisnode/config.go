package redisnode

import (
	"context"
	"fmt"
)

// SetConfig sets a configuration parameter of the running server, until it is
// started again or [Server.RestoreConfig] or a Reset brings back the value the
// parameter had before the first SetConfig.
func (s *Server) SetConfig(ctx context.Context, name, value string) error {
	reply, err := s.Do(ctx, "CONFIG", "GET", name)
	if err != nil {
		return err
	}
	pair, _ := reply.([]any)
	if len(pair) != 2 {
		return fmt.Errorf("redisnode: set %s of %s: it has no such parameter", name, s)
	}
	old, ok := pair[1].(string)
	if !ok {
		return fmt.Errorf("redisnode: set %s of %s: its value is %v", name, s, pair[1])
	}
	if _, err := s.Do(ctx, "CONFIG", "SET", name, value); err != nil {
		return fmt.Errorf("redisnode: set %s of %s: %w", name, s, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.changed == nil {
		s.changed = make(map[string]string)
	}
	if _, known := s.changed[name]; !known {
		s.changed[name] = old
	}
	return nil
}

// RestoreConfig undoes every [Server.SetConfig] since the server was started.
func (s *Server) RestoreConfig(ctx context.Context) error {
	s.mu.Lock()
	cmd := []string{"CONFIG", "SET"}
	for name, value := range s.changed {
		cmd = append(cmd, name, value)
	}
	s.mu.Unlock()
	if len(cmd) == 2 {
		return nil
	}
	if _, err := s.Do(ctx, cmd...); err != nil {
		return fmt.Errorf("redisnode: restore the configuration of %s: %w", s, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := 2; i < len(cmd); i += 2 {
		delete(s.changed, cmd[i])
	}
	return nil
}
