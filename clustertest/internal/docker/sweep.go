package docker

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// sweepOnce makes the first maker of a process remove what killed processes have
// left behind; once is enough for it not to pile up.
var sweepOnce sync.Once

// sweep removes the containers and networks of dead owners on this host.
func sweep(ctx context.Context, api client.APIClient) error {
	me := thisProcess()
	return removeLabelled(ctx, api, labelMine+"=1", func(labels map[string]string) bool {
		return me.knowsDead(ownerIn(labels))
	})
}

// removeLabelled removes containers, their volumes and then networks that have
// the label and that which accepts.
func removeLabelled(ctx context.Context, api client.APIClient, label string,
	which func(labels map[string]string) bool,
) error {
	filters := make(client.Filters).Add("label", label)
	containers, err := api.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: filters})
	if err != nil {
		return fmt.Errorf("docker: list containers: %w", err)
	}
	var errs []error
	for _, c := range containers.Items {
		if which(c.Labels) {
			errs = append(errs, removeContainer(ctx, api, c.ID))
		}
	}
	networks, err := api.NetworkList(ctx, client.NetworkListOptions{Filters: filters})
	if err != nil {
		return errors.Join(append(errs, fmt.Errorf("docker: list networks: %w", err))...)
	}
	for _, n := range networks.Items {
		if which(n.Labels) {
			errs = append(errs, removeNetwork(ctx, api, n.ID))
		}
	}
	return errors.Join(errs...)
}

// removeContainer kills and removes a container with its volumes. One that is
// gone or being removed by somebody else is fine.
func removeContainer(ctx context.Context, api client.APIClient, id string) error {
	_, err := api.ContainerRemove(ctx, id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
	if err != nil && !errdefs.IsNotFound(err) && !errdefs.IsConflict(err) {
		return fmt.Errorf("docker: remove container %s: %w", short(id), err)
	}
	return nil
}

// removeNetwork removes a network. One that is gone is fine.
func removeNetwork(ctx context.Context, api client.APIClient, id string) error {
	_, err := api.NetworkRemove(ctx, id, client.NetworkRemoveOptions{})
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("docker: remove network %s: %w", short(id), err)
	}
	return nil
}

// short returns the form of an id that docker's own messages use.
func short(id string) string { return id[:min(12, len(id))] }
