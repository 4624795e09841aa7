// A metrics API for the horizontal autoscaler, custom.metrics.k8s.io: how many calls are inside each pod, as its node counts
// them. What prometheus-adapter gives on a cluster with Prometheus, without either.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	basecmd "sigs.k8s.io/custom-metrics-apiserver/pkg/cmd"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// The figure, and the port where each node shows it.
const (
	metric = "castoff_node_in_flight"
	port   = "8002"
	most   = 1 << 20
)

var calls = provider.CustomMetricInfo{GroupResource: corev1.Resource("pods"), Namespaced: true, Metric: metric}

type pods struct {
	client kubernetes.Interface
	http   *http.Client
}

func (p *pods) ListAllMetrics() []provider.CustomMetricInfo {
	return []provider.CustomMetricInfo{calls}
}

func (p *pods) GetMetricByName(ctx context.Context, name types.NamespacedName, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValue, error) {
	if info != calls {
		return nil, provider.NewMetricNotFoundForError(info.GroupResource, info.Metric, name.Name)
	}
	pod, err := p.client.CoreV1().Pods(name.Namespace).Get(ctx, name.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return p.ask(ctx, pod)
}

func (p *pods) GetMetricBySelector(ctx context.Context, namespace string, selector labels.Selector, info provider.CustomMetricInfo, _ labels.Selector) (*custom_metrics.MetricValueList, error) {
	if info != calls {
		return nil, provider.NewMetricNotFoundError(info.GroupResource, info.Metric)
	}
	found, err := p.client.CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{LabelSelector: selector.String()})
	if err != nil {
		return nil, err
	}
	values := &custom_metrics.MetricValueList{}
	for i := range found.Items {
		// One that does not answer is left out, as one that was not scraped would be.
		if value, err := p.ask(ctx, &found.Items[i]); err == nil {
			values.Items = append(values.Items, *value)
		}
	}
	return values, nil
}

// What a pod says now.
func (p *pods) ask(ctx context.Context, pod *corev1.Pod) (*custom_metrics.MetricValue, error) {
	if pod.Status.PodIP == "" {
		return nil, fmt.Errorf("pod %s has no address", pod.Name)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(pod.Status.PodIP, port)+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	answer, err := p.http.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(answer.Body, most))
	for lines.Scan() {
		text, is := strings.CutPrefix(lines.Text(), metric+" ")
		if !is {
			continue
		}
		value, err := resource.ParseQuantity(text)
		if err != nil {
			return nil, err
		}
		return &custom_metrics.MetricValue{
			DescribedObject: custom_metrics.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name},
			Metric:          custom_metrics.MetricIdentifier{Name: metric},
			Timestamp:       metav1.Now(),
			Value:           value,
		}, nil
	}
	return nil, fmt.Errorf("pod %s does not count %s", pod.Name, metric)
}

func run() error {
	adapter := &basecmd.AdapterBase{Name: "calls"}
	if err := adapter.Flags().Parse(os.Args[1:]); err != nil {
		return err
	}
	config, err := adapter.ClientConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	adapter.WithCustomMetrics(&pods{client: client, http: &http.Client{Timeout: 2 * time.Second}})
	return adapter.Run(context.Background())
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
