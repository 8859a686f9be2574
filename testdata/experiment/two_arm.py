import json, scipy, numpy, statsmodels, sys
from scipy import stats
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest, power_proportions_2indep
from statsmodels.stats.power import NormalIndPower
out=[]
for x,n in (([120,150],[2400,2410]),([3,9],[20,35]),([0,5],[30,40]),([19,20],[20,20]),([400,380],[1000,900])):
    r={}
    for name,m in (('wald','wald'),('newcombe','newcomb'),('agresti_caffo','agresti-caffo'),('score','score')):
        try: r[name]=[float(v) for v in confint_proportions_2indep(x[1],n[1],x[0],n[0],method=m,compare='diff')]
        except ValueError: pass  # statsmodels finds no root at rates of 0 or 1
    for alt in ('two-sided','larger','smaller'):
        z,p=proportions_ztest([x[1],x[0]],[n[1],n[0]],alternative=alt); r['z']=float(z); r['p_'+alt]=float(p)
    out.append({'name':'two_rates','oracle':'statsmodels confint_proportions_2indep(compare="diff", alpha=.05), proportions_ztest; treatment first','input':{'x':x,'n':n},'expected':r})
rng=numpy.random.default_rng(7)
for na,nb,sh in ((12,9,1.),(40,200,.3),(5,5,0.)):
    a=numpy.round(rng.normal(10,1,na),4); b=numpy.round(rng.normal(10+sh,3,nb),4)
    r={}
    for alt in ('two-sided','greater','less'):
        t=stats.ttest_ind(b,a,equal_var=False,alternative=alt); ci=t.confidence_interval(.9)
        r[alt]={'t':float(t.statistic),'df':float(t.df),'p':float(t.pvalue),'ci':[float(ci.low) if numpy.isfinite(ci.low) else None,float(ci.high) if numpy.isfinite(ci.high) else None]}
    out.append({'name':'welch','oracle':'scipy.stats.ttest_ind(b, a, equal_var=False), confidence interval at .9','input':{'a':a.tolist(),'b':b.tolist()},'expected':r})
P=NormalIndPower()
for eff,n,ratio,alpha in ((.2,300,1.,.05),(.1,500,3.,.01),(.5,40,.5,.1)):
    r={alt:float(P.power(eff,n,alpha,ratio=ratio,alternative=alt)) for alt in ('two-sided','larger')}
    r['rows_at_.8']=float(P.solve_power(eff,None,alpha,.8,ratio=ratio,alternative='two-sided'))
    out.append({'name':'mean_power','oracle':'statsmodels NormalIndPower','input':{'effect':eff,'rows':n,'ratio':ratio,'alpha':alpha},'expected':r})
for p0,d,n,ratio,alpha in ((.05,.01,5000,1.,.05),(.3,-.05,800,2.,.05),(.5,.1,150,.5,.1)):
    r={}
    for alt in ('two-sided','larger'):
        # nobs1 belongs to prop1 = prop2 + diff; ratio = nobs2 / nobs1
        r[alt]=float(power_proportions_2indep(d,p0,n*ratio,ratio=1/ratio,alpha=alpha,alternative=alt,return_results=False))
    out.append({'name':'rate_power','oracle':'statsmodels power_proportions_2indep','input':{'control':p0,'difference':d,'rows':n,'ratio':ratio,'alpha':alpha},'expected':r})
json.dump({'provenance':{'tool':'scipy, statsmodels','versions':{'numpy':numpy.__version__,'scipy':scipy.__version__,'statsmodels':statsmodels.__version__},'python':sys.version.split()[0],'command':'the function that each case names as its oracle, on its input; see two_arm.py','tolerance':'1e-12, relative above 1; 1e-7 where statsmodels iterates'},'cases':out},open('two_arm.json','w'),indent=1)
