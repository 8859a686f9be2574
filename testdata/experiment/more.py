import json, sys, numpy, scipy, mpmath
from scipy import stats
out=[]
rng=numpy.random.default_rng(11)
# CUPED by its definition: theta and the covariate's mean over both arms, then plain two-sample statistics.
for nc,nt,rho,shift in ((40,60,.9,.5),(7,5,.3,0.),(300,30,-.7,-.2)):
    x=numpy.round(rng.gamma(2.,3.,nc+nt),4); y=numpy.round(rho*x+(1-rho*rho)**.5*rng.exponential(4.,nc+nt),4); y[nc:]=numpy.round(y[nc:]+shift,4)
    theta=numpy.cov(x,y,ddof=1)[0,1]/numpy.var(x,ddof=1); a=y-theta*(x-x.mean()); c,t=a[:nc],a[nc:]
    r=stats.ttest_ind(t,c,equal_var=False)
    out.append({'name':'cuped','oracle':'numpy cov, var; scipy.stats.ttest_ind(equal_var=False), skew of the adjusted outcomes','input':{'control':[x[:nc].tolist(),y[:nc].tolist()],'treatment':[x[nc:].tolist(),y[nc:].tolist()]},
      'expected':{'theta':float(theta),'explained':float(numpy.corrcoef(x,y)[0,1]**2),'means':[float(c.mean()),float(t.mean())],'variances':[float(c.var(ddof=1)),float(t.var(ddof=1))],'skewness':[float(stats.skew(c)),float(stats.skew(t))],'t':float(r.statistic),'df':float(r.df),'p':float(r.pvalue)}})
# The one-sided mixture by quadrature: the beta law of the mixture, cut at the null, against the null.
mpmath.mp.dps=30
for alpha,narrowest,s,n,null in ((.05,100,30,100,.2),(.05,100,9,1000,.004),(.01,50,60,70,.5),(.2,1000,700,1000,.68)):
    d=-2*mpmath.log(2*alpha); k=max(mpmath.mpf('.001'),narrowest/(d+mpmath.log(1+d))-1); p=mpmath.mpf(str(null)); a,b=k*p,k*(1-p)
    f=lambda q:q**(a-1)*(1-q)**(b-1)
    g=lambda q:f(q)*mpmath.exp(s*mpmath.log(q/p)+(n-s)*mpmath.log((1-q)/(1-p)))
    pts=mpmath.linspace(p,1,101)
    out.append({'name':'rate_greater','oracle':'mpmath.quad of the likelihood over the cut beta law','input':{'alpha':alpha,'narrowest_at':narrowest,'successes':s,'trials':n,'null':null},'expected':float(mpmath.log(mpmath.quad(g,pts)/mpmath.quad(f,pts)))})
json.dump({'provenance':{'tool':'numpy, scipy, mpmath','versions':{'numpy':numpy.__version__,'scipy':scipy.__version__,'mpmath':mpmath.__version__},'python':sys.version.split()[0],'command':'python more.py in this folder','tolerance':'1e-12, relative above 1; 1e-10 for quadrature'},'cases':out},open('more.json','w'),indent=1)
