// Command kubernetes builds a folder with kustomize and reads what comes out as the types of
// Kubernetes, strictly: a field that a type does not have, or a value of another type, is an
// error. It prints the kind and the name of each object. It is a module of its own, so that
// its dependencies are not in the project's go.mod.
package main

import (
	"fmt"
	"os"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// serviceMonitor is what a ServiceMonitor of the Prometheus operator has, as far as we use it.
type serviceMonitor struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`

	Spec struct {
		Selector  metav1.LabelSelector `json:"selector"`
		Endpoints []struct {
			Port     string `json:"port"`
			Interval string `json:"interval"`
		} `json:"endpoints"`
	} `json:"spec"`
}

// types has a new value for each kind that a folder may have.
var types = map[string]func() any{
	"apps/v1 Deployment":                      func() any { return &appsv1.Deployment{} },
	"v1 Service":                              func() any { return &corev1.Service{} },
	"networking.k8s.io/v1 NetworkPolicy":      func() any { return &networkingv1.NetworkPolicy{} },
	"policy/v1 PodDisruptionBudget":           func() any { return &policyv1.PodDisruptionBudget{} },
	"monitoring.coreos.com/v1 ServiceMonitor": func() any { return &serviceMonitor{} },
}

func main() {
	if err := check(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func check(folder string) error {
	o := krusty.MakeDefaultOptions()
	built, err := krusty.MakeKustomizer(o).Run(filesys.MakeFsOnDisk(), folder)
	if err != nil {
		return err
	}
	for _, r := range built.Resources() {
		if err := fits(r); err != nil {
			return fmt.Errorf("%s: %w", r.CurId(), err)
		}
		fmt.Println(r.GetKind(), r.GetName())
	}
	return nil
}

func fits(r *resource.Resource) error {
	kind := r.GetApiVersion() + " " + r.GetKind()
	object, known := types[kind]
	if !known {
		return fmt.Errorf("no type is known for %s", kind)
	}
	text, err := r.AsYAML()
	if err != nil {
		return err
	}
	return yaml.UnmarshalStrict(text, object())
}
